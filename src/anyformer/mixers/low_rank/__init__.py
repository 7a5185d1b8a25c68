"""Low-rank attention."""

PLAINEST = "linformer"
