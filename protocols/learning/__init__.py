"""Learning from columns of several parties: binning, logistic regression, evaluation, scorecards."""
