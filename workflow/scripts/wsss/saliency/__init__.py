"""Saliency maps for methods that learn from them: made from images alone, or by a user's own command."""
