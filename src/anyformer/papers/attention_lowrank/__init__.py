"""Cards of the family attention-lowrank."""
