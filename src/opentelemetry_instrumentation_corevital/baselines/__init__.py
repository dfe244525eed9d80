"""What is usual for a model: profiles of its healthy runs, read and looked up by its name."""
