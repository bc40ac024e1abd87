"""What the in-process engine is made of: a loaded checkpoint, one prefill, a decode loop, the weighing of choices."""
