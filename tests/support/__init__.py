"""What several tests share: one small module per helper, imported from the module that has it."""
