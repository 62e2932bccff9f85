"""How it is shown: a web page that calls the assistant and renders what it yields. It decides nothing itself."""
