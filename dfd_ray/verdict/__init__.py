"""From the scores of faces to a probability of a video that can be believed."""
