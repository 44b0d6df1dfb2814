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
