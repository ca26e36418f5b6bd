"""What a trained network says about pictures, how far its scores can be trusted, and how accurate it is."""
