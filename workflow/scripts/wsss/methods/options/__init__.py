"""The options of each net, with their ranges and defaults: a class a net. Planning reads them, so there is no torch here."""
