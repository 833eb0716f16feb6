"""From accumulated sums to stored bytes."""
