"""The nucleus process: control plane, HTTP, holds; it owns line 2 of the control segment."""
