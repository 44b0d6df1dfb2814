document.querySelectorAll("table").forEach(function (table) {
  table.classList.add("sortable");
  var heads = table.tHead.rows[0].cells;
  Array.prototype.forEach.call(heads, function (head, column) {
    var up = false;
    head.addEventListener("click", function () {
      up = !up;
      var rows = Array.prototype.slice.call(table.tBodies[0].rows);
      var key = function (row) {
        var cell = row.cells[column];
        if (!cell) return "";
        return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
      };
      rows.sort(function (a, b) {
        var x = key(a), y = key(b);
        var order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
        return up ? order : -order;
      });
      rows.forEach(function (row) { table.tBodies[0].appendChild(row); });
    });
  });
});
document.querySelectorAll("svg").forEach(function (svg) {
  var group = svg.querySelector("g.rows");
  if (!group) return;
  var rows = Array.prototype.slice.call(group.children);
  var height = Number(group.dataset.height);
  var button = document.createElement("button");
  var sorted = false;
  button.type = "button";
  button.className = "sort";
  button.textContent = "sort rows by value";
  button.addEventListener("click", function () {
    sorted = !sorted;
    var order = rows.slice();
    if (sorted) order.sort(function (a, b) { return a.dataset.value - b.dataset.value; });
    order.forEach(function (row, place) {
      row.setAttribute("transform", "translate(0 " + (place - rows.indexOf(row)) * height + ")");
    });
    svg.classList.toggle("sorted", sorted);
    button.textContent = sorted ? "rows by host again" : "sort rows by value";
  });
  var frame = svg.parentNode;
  frame.parentNode.insertBefore(button, frame.nextSibling);
});
