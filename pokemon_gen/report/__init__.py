"""The pictures, plots and tables that people look at."""
