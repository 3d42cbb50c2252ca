"""The models: one folder for each subject of the paper. Subjects do not import each other."""
