"""What is known from elsewhere than this run: our own recorded results and agents by name, and published tables."""
