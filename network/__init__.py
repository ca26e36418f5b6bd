"""What a trained network is: its layers, its configuration, its checkpoint file, and the device it runs on."""
