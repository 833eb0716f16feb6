"""The byte port: frames, commands, images in, and the buses beside it."""
