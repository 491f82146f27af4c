"""The marked equations of the chapters, each against the code that the chapter shows."""
