"""What a trained agent is worth: adaptation curves, how sure one is of them, and what can be read in a memory."""
