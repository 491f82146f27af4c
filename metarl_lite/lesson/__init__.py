"""What only a reader meets: instant checks of exercises, shown source, and pictures (`plot`, the only matplotlib)."""
