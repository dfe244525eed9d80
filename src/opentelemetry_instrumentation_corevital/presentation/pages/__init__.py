"""What every page for a browser is made of: templates, styles, scripts and the data that scripts read."""
