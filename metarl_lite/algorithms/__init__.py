"""What learns to learn: MAML's two loops and their relatives, RL2 with A2C and PPO, and the numbers of their runs."""
