"""The jobs, one module each. Each reads as its data flow."""
