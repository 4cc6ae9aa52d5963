"""What people look at: pictures of sprites, plots and tables."""
