"""The live page: one HTML file that holds a trained model and runs it in the browser, without a server."""
