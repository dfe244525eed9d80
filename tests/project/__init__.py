"""What the project as a whole keeps: its imports, its names, its pages of the code."""
