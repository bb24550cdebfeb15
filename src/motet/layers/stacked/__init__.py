"""M networks that share nothing, with their weights in the channels of one network."""
