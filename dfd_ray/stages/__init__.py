"""What Ray runs on its workers."""
