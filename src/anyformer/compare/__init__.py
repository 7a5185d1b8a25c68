"""The main job: compare architectures on a task, on equal terms, and say which to use."""
