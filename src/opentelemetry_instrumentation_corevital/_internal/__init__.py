"""Holds what several rooms need and no user imports: locks across forks, files, text, where our own errors end."""
