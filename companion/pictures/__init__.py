"""The pictures of the derivation chapters, computed when drawn."""
