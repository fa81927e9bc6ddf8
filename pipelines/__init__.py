"""Everything that makes pictures. It knows nothing of Gradio and nothing of HTTP."""

__version__ = "0.1.0"
