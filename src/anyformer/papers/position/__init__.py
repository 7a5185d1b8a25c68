"""Cards of papers about positions."""
