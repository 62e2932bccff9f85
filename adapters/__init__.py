"""Who speaks: LoRA adapters on one shared base model. (Not ports-and-adapters, and not AdapterHub's package.)"""
