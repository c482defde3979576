"""Variations of a training loop, as replacements in the plain one."""

import torch

PLAIN = """
def train_tinybert(model, train_loader, optimizer, num_epochs=10):
    losses = []
    for epoch in range(num_epochs):
        model.train()
        total = 0
        for input_ids, attention_mask, labels in train_loader:
            optimizer.zero_grad()
            out = model(input_ids=input_ids, attention_mask=attention_mask, labels=labels)
            out.loss.backward()
            optimizer.step()
            total += out.loss.item()
        mean = total / len(train_loader)
        print(f"Epoch {epoch+1}, Loss: {mean:.4f}")
        losses.append(mean)
    return losses
"""


def variation(*replacements, source=PLAIN):
    """Return the plain loop's function after the replacements, (old, new) each."""
    for old, new in replacements:
        assert old in source, old
        source = source.replace(old, new)
    names = {"torch": torch, "F": torch.nn.functional, "model": "the notebook's", "optimizer": "its"}
    exec(source, names)
    return names["train_tinybert"]


ZERO = "            optimizer.zero_grad()\n"
BACKWARD = "            out.loss.backward()\n"
STEP = "            optimizer.step()\n"
CALL = "input_ids=input_ids, attention_mask=attention_mask, labels=labels"

RIGHT = {
    "plain": [],
    "zero_grad after step": [(ZERO, ""), (STEP, STEP + ZERO)],
    "zero_grad between forward and backward": [(ZERO, ""), (BACKWARD, ZERO + BACKWARD)],
    "zero_grad to zeros": [("zero_grad()", "zero_grad(set_to_none=False)")],
    "zero_grad of the model": [("optimizer.zero_grad", "model.zero_grad")],
    "train once": [("        model.train()\n", ""), ("losses = []", "losses = []; model.train()")],
    "dictionary": [(CALL, "**dict(input_ids=input_ids, attention_mask=attention_mask, labels=labels)")],
    "tuple output": [(CALL, CALL + ", return_dict=False"), ("out.loss", "out[0]")],
    "output by key": [("out.loss", "out['loss']")],
    "mask and ids by position": [(CALL, "input_ids, attention_mask, labels=labels")],
    "boolean mask": [("attention_mask=attention_mask", "attention_mask=attention_mask.bool()")],
    "float mask": [("attention_mask=attention_mask", "attention_mask=attention_mask.float()")],
    "batches unpacked late": [
        ("for input_ids, attention_mask, labels in train_loader:\n",
         "for number, batch in enumerate(train_loader):\n            input_ids, attention_mask, labels = batch\n"),
    ],
    "token types of a single text": [(CALL, CALL + ", token_type_ids=torch.zeros_like(input_ids)")],
    "a look at gradients": [
        (BACKWARD, "            torch.autograd.grad(out.loss, model.classifier.bias, retain_graph=True)\n" + BACKWARD),
    ],
    "batches listed once": [("losses = []", "losses = []; train_loader = list(train_loader)")],
    "tensors until the end": [
        ("total += out.loss.item()", "total += out.loss.detach()"), ("mean = total / len(train_loader)",
         "mean = (total / len(train_loader)).item()"),
    ],
    "mean by example": [
        ("total += out.loss.item()", "total += out.loss.item() * len(labels)"),
        ("/ len(train_loader)", "/ len(train_loader.dataset)"),
    ],
    "epochs from zero": [("{epoch+1}", "{epoch}")],
    "more printed": [("        losses.append", "        print('best so far', min([mean, *losses]))\n        losses.append")],
    "another format": [("Epoch {epoch+1}, Loss: {mean:.4f}", "epoch [{epoch+1}/{num_epochs}] train loss = {mean:.3f}")],
    "validation pass that restores train mode": [
        ("        mean =", "        model.eval()\n        with torch.no_grad():\n"
         "            [model(input_ids=a, attention_mask=b) for a, b, c in train_loader]\n        mean ="),
    ],
    "validation pass with gradients on": [
        ("        mean =", "        model.eval(); [model(input_ids=a, attention_mask=b) for a, b, c in train_loader]\n"
         "        mean ="),
    ],
    "accumulation over one batch": [(BACKWARD, "            (out.loss / 1).backward()\n")],
    "clipping": [(STEP, "            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n" + STEP)],
    "clipping by value": [(STEP, "            torch.nn.utils.clip_grad_value_(model.parameters(), 0.01)\n" + STEP)],
    "reduced precision": [("            out =", "            with torch.autocast('cpu', torch.bfloat16): out =")],
    "NumPy means": [("mean = total / len(train_loader)", "import numpy; mean = numpy.float32(total / len(train_loader))")],
    "a closure": [
        (ZERO, "            def closure():\n                optimizer.zero_grad()\n"), ("            out = model", "                out = model"),
        (BACKWARD, "                out.loss.backward()\n                return out.loss\n"),
        (STEP, "            loss = optimizer.step(closure)\n"), ("out.loss.item()", "loss.item()"),
    ],
    "the whole model saved": [
        ("        losses.append", "        import io, pickle; torch.save(model, io.BytesIO()); pickle.loads(pickle.dumps(model))\n        losses.append"),
    ],
    "a look at gradients of another pass": [
        ("        mean =", "        x, m, y = next(iter(train_loader)); torch.autograd.grad(model(input_ids=x, attention_mask=m, labels=y).loss, model.classifier.bias)\n        mean ="),
    ],
    "an iterator and its length": [
        ("        for input_ids, attention_mask, labels in train_loader:\n",
         "        it = iter(train_loader)\n        for _ in range(len(it)):\n            input_ids, attention_mask, labels = next(it)\n"),
    ],
    "its forward wrapped": [("losses = []", "losses = []; model.forward = torch.autocast('cpu', torch.bfloat16)(model.forward)")],
    "autocast around an epoch": [
        ("        for input_ids, attention_mask, labels in train_loader:\n",
         "        context = torch.autocast('cpu', torch.bfloat16); context.__enter__()\n        for input_ids, attention_mask, labels in train_loader:\n"),
        ("        mean =", "        context.__exit__(None, None, None)\n        mean ="),
    ],
    "forward called directly": [("out = model(", "out = model.forward(")],
    "double precision": [("losses = []", "losses = []; model.double()")],
    "clipping in hooks": [
        ("losses = []", "losses = []; hooks = [p.register_hook(lambda g: g.clamp(-0.01, 0.01)) for p in model.parameters() if p.requires_grad]"),
    ],
    "a GradScaler": [
        ("losses = []", "losses = []; scaler = torch.amp.GradScaler('cpu')"),
        (BACKWARD, "            scaler.scale(out.loss).backward()\n"), (STEP, "            scaler.step(optimizer); scaler.update()\n"),
    ],
    "a GradScaler and clipping": [
        ("losses = []", "losses = []; scaler = torch.amp.GradScaler('cpu')"),
        (BACKWARD, "            scaler.scale(out.loss).backward(); scaler.unscale_(optimizer)\n"
         "            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)\n"),
        (STEP, "            scaler.step(optimizer); scaler.update()\n"),
    ],
    "moved to a device": [("optimizer.zero_grad()", "optimizer.zero_grad(); model.to('cpu'); labels = labels.to('cpu')")],
}  # fmt: skip

# name: (replacements, rule of test_training_loop, words)
WRONG_LOOPS = {
    "no zero_grad": ([(ZERO, "")], "zero_grad", "sum of all batches so far"),
    "zero_grad once an epoch": (
        [(ZERO, ""), ("total = 0\n", "total = 0\n        optimizer.zero_grad()\n")], "zero_grad", "once an epoch"),
    "zero_grad before step": ([(ZERO, ""), (BACKWARD, BACKWARD + ZERO)], "zero_grad", "between backward() and step()"),
    "step before backward": ([(STEP, ""), (BACKWARD, STEP + BACKWARD)], "steps", "before backward"),
    "no step": ([(STEP, "")], "steps", "never called"),
    "two steps": ([(STEP, STEP + STEP)], "steps", "times for"),
    "step once an epoch": ([(STEP, ""), ("        mean =", "        optimizer.step()\n        mean =")], "steps", "inside the loop"),
    "no backward": ([(BACKWARD, "")], "backward", "never called"),
    "no_grad": ([("            out =", "            with torch.no_grad(): out =")], "backward", "without gradients"),
    "evaluation mode": ([("model.train()", "model.eval()")], "train_mode", "evaluation mode"),
    "never train mode": ([("        model.train()\n", "")], "train_mode", "evaluation mode"),
    "train mode lost": (
        [("        model.train()\n", ""), ("losses = []", "losses = []; model.train()"), ("        mean =", "        model.eval()\n        mean =")],
        "train_mode", "never came back"),
    "no mask": ([("attention_mask=attention_mask, ", "")], "attention_mask", "No attention mask"),
    "mask of ones": ([("attention_mask=attention_mask", "attention_mask=torch.ones_like(input_ids)")], "attention_mask", "all ones"),
    "mask and ids swapped": ([("input_ids, attention_mask, labels in", "attention_mask, input_ids, labels in")], "inputs", "input_ids"),
    "mask as token types": ([(CALL, CALL + ", token_type_ids=attention_mask")], "other_arguments", "`token_type_ids`"),
    "no labels": ([(", labels=labels", "")], "labels", "No labels"),
    "its parts one by one": (
        [("            out = model(" + CALL + ")\n", "            words = model.bert(input_ids=input_ids, attention_mask=attention_mask).pooler_output\n"
          "            loss = F.cross_entropy(model.classifier(model.dropout(words)), labels)\n"), ("out.loss", "loss")], "labels", "No labels"),
    "the encoder's layers one by one": (
        [("            out = model(" + CALL + ")\n", "            words = model.bert.embeddings(input_ids)\n            for layer in model.bert.encoder.layer: words = layer(words)\n"
          "            loss = F.cross_entropy(model.classifier(model.bert.pooler(words)), labels)\n"), ("out.loss", "loss")], "unseen", "cannot see"),
    "labels by position": ([(CALL, "input_ids, attention_mask, labels")], "labels", "token_type_ids"),
    "float labels": ([("labels=labels", "labels=labels.float()")], "labels", "floats"),
    "loss outside": ([("out.loss.backward()", "F.cross_entropy(out.logits, labels).backward()")], "loss_from_model", "outside the model"),
    "loss scaled up and clipped": (
        [("out.loss.backward()", "(out.loss * 4).backward(); torch.nn.utils.clip_grad_value_(model.parameters(), 10)")], "loss_from_model", "4 times"),
    "loss scaled": ([("out.loss.backward()", "(out.loss / 4).backward()")], "loss_from_model", "0.25 times"),
    "averages emptied": ([(ZERO, ZERO + "            optimizer.state.clear()\n")], "own_optimizer", "thrown away"),
    "two rows a batch": (
        [("            out =", "            input_ids, attention_mask, labels = input_ids[:2], attention_mask[:2], labels[:2]\n            out =")],
        "batches", "Parts of the batches"),
    "break": ([("item()\n", "item()\n            break\n")], "batches", "1 of the loader's"),
    "iterator used up": ([("losses = []", "losses = []; it = iter(train_loader)"), ("in train_loader", "in it")], "batches", "used up"),
    "a penalty": (
        [("out.loss.backward()", "(out.loss + sum((p**2).sum() for p in model.parameters())).backward()")], "nothing_else", "other gradients"),
    "gradients thrown away": ([(STEP, "            model.classifier.weight.grad.zero_()\n" + STEP)], "nothing_else", "other gradients"),
    "weights set by hand": (
        [("        model.train()\n", "        model.train()\n        model.classifier.weight.data.zero_()\n")], "nothing_else", "between two steps"),
    "last batch left out": ([("in train_loader:", "in list(train_loader)[:-1]:")], "batches", "of the loader's"),
    "labels of the other class": ([("labels=labels", "labels=1 - labels")], "labels", "not the batch's own"),
    "twice a batch": (
        [(BACKWARD + STEP, "            for _ in range(2): optimizer.zero_grad(); out = model(input_ids=input_ids, attention_mask=attention_mask, labels=labels);"
          " out.loss.backward(); optimizer.step()\n")], "batches", "more than once"),
    "dropout off": ([("model.train()", "model.train(); [m.eval() for m in model.modules() if isinstance(m, torch.nn.Dropout)]")], "train_mode", "evaluation mode"),
    "a global model": ([("out = model", "out = globals()['model']")], "arguments", "`model`"),
    "a global optimizer": ([("optimizer.step()", "globals()['optimizer'].step()")], "arguments", "`optimizer`"),
    "a copy": ([("losses = []", "losses = []; import copy; model = copy.deepcopy(model)")], "arguments", "not the one"),
    "a new optimizer": ([("total = 0\n", "total = 0; optimizer = torch.optim.AdamW(model.parameters())\n")], "own_optimizer", "Another optimizer"),
    "a schedule": ([("        mean =", "        optimizer.param_groups[0]['lr'] /= 2\n        mean =")], "settings_kept", "settings"),
    "everything unfrozen": ([("losses = []", "losses = []; model.requires_grad_(True)")], "frozen_kept", "frozen parameters"),
    "never called": ([("        for input_ids, attention_mask, labels in train_loader:", "        for _ in ():")], "arguments", "never called"),
    "its classifier lost": ([("    return losses", "    model.classifier = torch.nn.Identity()\n    return losses")], "nothing_else", "has lost 2 parameters"),
    "a rate of its own": ([("losses = []", "losses = []; optimizer.param_groups[0]['lr'] = 2.5e-3")], "settings_kept", "whatever it was"),
    "crash": ([("        mean =", "        1 / 0\n        mean =")], "runs", "ZeroDivisionError"),
    "untouched": ([("losses = []", "raise NotImplementedError")], "is_function", "untouched"),
}  # fmt: skip

# name: (replacements, rule of test_loss_history, words)
WRONG_HISTORIES = {
    "sum": ([(" / len(train_loader)", "")], "means", "never divided"),
    "no reset": ([("        total = 0\n", ""), ("losses = []", "losses = []; total = 0")], "means", "not reset"),
    "last batch": ([("total +=", "total ="), (" / len(train_loader)", "")], "means", "last batch"),
    "by examples": ([("/ len(train_loader)", "/ len(train_loader.dataset)")], "means", "number of examples"),
    "by epochs": ([("/ len(train_loader)", "/ num_epochs")], "means", "number of epochs"),
    "invented": ([("losses.append(mean)", "losses.append(0.5)")], "means", "Entry"),
    "fixed epochs": ([("range(num_epochs)", "range(10)")], "epochs", "num_epochs="),
    "another default": ([("num_epochs=10", "num_epochs=3")], "epochs", "default of 10"),
    "one epoch less": ([("range(num_epochs)", "range(1, num_epochs)")], "epochs", "num_epochs="),
    "return in the loop": ([("        losses.append(mean)\n    return", "        losses.append(mean)\n        return")], "epochs", "return"),
    "one for each batch": ([("total += out.loss.item()", "losses.append(out.loss.item())"), ("        losses.append(mean)\n", "")], "epochs", "every batch"),
    "only the last": ([("losses.append(mean)", "losses = [mean]")], "epochs", "Only one entry"),
    "nothing returned": ([("    return losses\n", "")], "returned", "returned nothing"),
    "a dictionary": ([("return losses", "return dict(enumerate(losses))")], "returned", "dict"),
    "tensors": ([("total += out.loss.item()", "total += out.loss")], "returned", ".item()"),
    "nothing printed": ([('        print(f"Epoch {epoch+1}, Loss: {mean:.4f}")\n', "")], "printed", "No epoch lines"),
    "something else printed": ([("Loss: {mean:.4f}", "Loss: {mean / 2:.4f}")], "printed", "not all show"),
}  # fmt: skip
