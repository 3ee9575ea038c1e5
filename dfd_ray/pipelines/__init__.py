"""The jobs: one module each, and the only code that imports ray."""
