"""What people see of a run: TensorBoard and `report.html`."""
