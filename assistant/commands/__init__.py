"""The groups of the ``assistant`` command, a file each. They parse, call and print; they decide nothing."""
