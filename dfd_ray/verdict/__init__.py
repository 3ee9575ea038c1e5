"""Turn the scores of faces into calibrated probabilities of videos, and measure how good they are."""
