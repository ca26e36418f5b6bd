"""From picture files to pixels, and what is known about each picture. Runs without TensorFlow."""
