"""Images in files: which files they are, and their pixels in one form."""
