"""What the import and export commands do: other people's CAMs, masks and weights, checked and turned into ours."""
