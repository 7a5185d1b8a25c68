"""What the user sees: the HTML page with its figures, and the terminal."""
