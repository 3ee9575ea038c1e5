"""Finding faces, cutting them out, drawing them. Never imports ray."""
