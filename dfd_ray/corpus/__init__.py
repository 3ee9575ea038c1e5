"""What a folder of videos says of itself: its listing, groups, folds and people."""
