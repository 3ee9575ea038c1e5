"""Faces: finding them, cutting them out, and the tone of their skin. Never imports ray."""
