export function render() { document.body.textContent = "Gradients"; }
