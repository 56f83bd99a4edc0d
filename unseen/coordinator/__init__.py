"""The coordinator: who is there, what they offer, and each epoch's first manifest. It never computes."""
