"""Display of a comparison: the HTML page with its figures, and the terminal."""
