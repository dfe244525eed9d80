"""What several rooms need and no user imports: locks across forks, files, text, values, where our own errors end."""
