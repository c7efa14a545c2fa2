"""What acts: workers that hold partitions, decide, and perform steps."""
