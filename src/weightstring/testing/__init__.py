"""What an extension must hold, as checks that anyone can run on their own."""
