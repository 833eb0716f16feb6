"""From weight memory to the shadow registers of the engines."""
